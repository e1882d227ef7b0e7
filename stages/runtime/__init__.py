"""Runs the trainers in their environments or containers, on GPUs of their own."""
