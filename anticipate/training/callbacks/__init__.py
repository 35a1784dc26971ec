"""What happens around training and testing: figures, results and the files of a run."""
