//! Contexts of asynchronous input and output, which on Linux belong to an address
//! space: threads share them, `fork` and `execve` leave them behind.
//!
//! On Linux a context's name is the address of its ring, which programs may read.
//! Here it is a page of zeros: without the ring's magic number in it, libaio asks
//! the kernel. The ring itself is the monitor's.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use monitor_sys::{Errno, aio::Context, guest_memory::PAGE};

use super::{
    AddressSpace, Protection,
    change::{Place, Request},
};

/// `MAP_PRIVATE | MAP_ANONYMOUS`.
const ANONYMOUS: u64 = 0x22;

/// The contexts of one address space, by their names. Its lock is never held
/// while another is taken.
#[derive(Debug, Default)]
pub(super) struct Contexts(Mutex<BTreeMap<u64, Arc<Context>>>);

impl Contexts {
    fn all(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Context>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AddressSpace {
    /// Makes a context with room for `events`. Returns its name.
    pub fn create_context(&self, events: u64) -> Result<u64, Errno> {
        let context = Context::new(events)?;
        let page = Request {
            place: Place::Hint(0),
            len: PAGE,
            protection: Protection::READ_WRITE,
            flags: ANONYMOUS,
            file: None,
            offset: 0,
            alignment: PAGE,
        };
        match self.map(&page) {
            Ok(name) => {
                self.contexts.all().insert(name, Arc::new(context));
                Ok(name)
            }
            Err(errno) => context.destroy().and(Err(errno)),
        }
    }

    /// The context of this name; `EINVAL` if there is none.
    pub fn context(&self, name: u64) -> Result<Arc<Context>, Errno> {
        self.contexts.all().get(&name).map(Arc::clone).ok_or(Errno::EINVAL)
    }

    /// Ends a context: its requests are waited for, its name is unmapped.
    pub fn destroy_context(&self, name: u64) -> Result<(), Errno> {
        let context = self.contexts.all().remove(&name).ok_or(Errno::EINVAL)?;
        context.destroy()?;
        self.unmap(name, PAGE)
    }
}
