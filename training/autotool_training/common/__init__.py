"""What all training stages share: records, checkpoints, adapters, progress, resuming."""
