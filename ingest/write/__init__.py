"""The write path behind the HTTP edge: admission, decoding, and the lanes that commit groups of batches."""
