"""What a person sees: pages, pictures and live views of what ifog runs."""
