//! What an administrator does with krun on a node: give it to the engines, and take it away again.
//!
//! Nothing is changed that is not kontain's own: of engines' files every other byte stays, and stays even if somebody
//! has changed them meanwhile. What cannot be done safely is refused, with the file, the field and the fix.
#![forbid(unsafe_code)]

mod base;
mod check;
pub mod cli;
mod collect;
mod document;
mod engines;
mod error;
mod files;
mod install;
mod max_pods;
mod output;
mod policy;
mod record;
mod settings;

pub use self::check::{Finding, Status, check};
pub use self::collect::Collection;
pub use self::engines::{Engine, Wish};
pub use self::error::{NodeError, Result};
pub use self::files::Root;
pub use self::install::{Work, install, install_all, uninstall, uninstall_all};
pub use self::max_pods::{Answer, Instance, Pods};
