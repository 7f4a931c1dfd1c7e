"""`autotool calibrate`: what p_long is worth on a checkpoint, and which bias meets a target, by tasks of one's own."""
