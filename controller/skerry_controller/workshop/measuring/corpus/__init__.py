"""What quality is measured on: a text in the public domain, and questions of our own."""
