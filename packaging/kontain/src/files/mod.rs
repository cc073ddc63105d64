//! Files of a node, below its root directory: read as they may be hostile, changed all or none.

mod found;
mod prepared;
mod root;
mod transaction;

pub(crate) use self::found::Found;
pub(crate) use self::found::text;
pub use self::root::Root;
pub(crate) use self::transaction::{Change, apply, apply_first};
