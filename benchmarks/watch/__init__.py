"""What `gradlab.watch` costs a training: time, memory and files."""
