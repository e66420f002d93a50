"""Phone requests with and without pictures, in English and Chinese, whose calls are known."""
