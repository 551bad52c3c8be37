//! The fourth and fifth ring: whole clusters with real containers, driven from outside by the clients people have.
//!
//! Every test lives in a network namespace of its own and in a folder of its own, so tests neither see nor disturb each other
//! or the machine. What they start ends with them, also when they are killed.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // All of it is tests.

mod api;
mod awsvpc;
mod bill;
mod black_box;
mod check;
mod clients;
mod clock;
mod confusion;
mod connect;
mod cost;
mod crash;
mod definition;
mod disk;
mod efs;
mod efs_tls;
mod encryption;
mod exec;
mod fargate;
mod fargate_walkthrough;
mod faults;
mod firelens;
mod given;
mod gpus;
mod grown;
mod harness;
mod health;
mod hooks;
mod host;
mod links;
mod log_drivers;
mod logs;
mod metadata;
mod net;
mod own_networks;
mod partition;
mod pinned;
mod receivers;
mod registry;
mod restart;
mod roles;
mod secret_files;
mod secrets;
mod service_faults;
mod services;
mod sharing;
mod status;
mod storage;
mod storm;
mod terraform;
mod userns;
mod volumes;
mod walkthrough;
