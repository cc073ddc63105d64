//! What kontain does to a node, which is a directory.

#![expect(clippy::tests_outside_test_module, reason = "an integration test is a test module")]

mod check;
mod check_run;
mod collect;
mod command_line;
mod concurrent;
mod ecs;
mod eks;
mod engines;
mod golden;
mod hostile;
mod killed;
mod no_room;
mod place;
mod policy;
mod round_trip;
mod round_trip_toml;
mod settings;
