"""What travels between processes: values, errors, frames and the descriptors that carry them."""
