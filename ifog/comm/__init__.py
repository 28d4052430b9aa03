"""Moving bytes between ranks, and failing cleanly: MPI between machines, shared memory on one.

The room from bottom to top: `mpi` finds an MPI; `shared` is memory that all ranks of a machine see, `board` what they know of
each other, `wire` messages between machines; `world` is the life of a rank and how it waits; `packing` and `arithmetic` turn
tensors into bytes and add them up; `operation` is what all calls have in common, `collectives` and `pairs` what each one does;
`graphs` the topology as a rank sees it; `api` is what the user calls, and what `import ifog` offers; above it stand `windows`,
`state` for models and optimizers, and `timeline`.

Importing a module of it starts nothing; the first call does.
"""
