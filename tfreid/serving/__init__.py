"""The SavedModel that TF Serving loads."""
