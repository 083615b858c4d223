"""The types of the arguments of operators and sensors: one table per class, read before a task begins."""
