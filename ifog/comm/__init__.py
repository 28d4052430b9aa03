"""Moving bytes between processes: which MPI there is, and how to talk through it."""
