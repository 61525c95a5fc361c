"""What every test needs before it imports transformers."""

from rushes._transformers import transformers

transformers.logging.set_verbosity_error()
