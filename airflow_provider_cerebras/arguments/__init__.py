"""What the arguments of operators and sensors take: declared in one table per class, and read before a task begins."""
