"""What all training stages share: records, checkpoints, adapters, sampling, resuming."""
