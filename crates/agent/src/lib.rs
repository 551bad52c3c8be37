//! Runs tasks on a container instance: pure step, ledger, log shipping, introspection.
