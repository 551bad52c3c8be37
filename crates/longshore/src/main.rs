//! One binary: server, agent, dev, and the operator's commands.
fn main() {}
