"""Mathematical functions: one file an operation, with its formulations, reference, bound and cost."""
