//! What the kernel told the monitor at its start, for the guest: the auxiliary
//! vector and the environment as it is, malformed entries too.

use std::ffi::CStr;

unsafe extern "C" {
    static environ: *const *const libc::c_char;
}

/// The host's value of an entry of the auxiliary vector, 0 where there is none.
///
/// Read from the vector itself: `getauxval(3)` of glibc gives its own idea of
/// `AT_HWCAP`.
pub fn value(entry: u64) -> u64 {
    // SAFETY: the C library sets the variable before `main` to the kernel's
    // vector, and nothing in the monitor changes the environment.
    let mut next = unsafe { environ };
    loop {
        // SAFETY: `next` points into the null-terminated vector, not behind it.
        let last = unsafe { next.read() }.is_null();
        // SAFETY: at its end lies the auxiliary vector.
        next = unsafe { next.add(1) };
        if last {
            break;
        }
    }
    let mut pair = next.cast::<[u64; 2]>();
    loop {
        // SAFETY: the vector ends with `AT_NULL`, which has not been passed.
        let [kind, value] = unsafe { pair.read() };
        if kind == entry || kind == libc::AT_NULL {
            return value;
        }
        // SAFETY: the pair was not the last.
        pair = unsafe { pair.add(1) };
    }
}

/// The environment the process was started with, entry by entry, without the
/// NULs. Unlike `std::env::vars_os`, entries without a `=` are kept.
pub fn environment() -> Vec<Vec<u8>> {
    let mut entries = Vec::new();
    // SAFETY: the C library sets the variable before `main`, and nothing in the
    // monitor changes the environment.
    let mut next = unsafe { environ };
    loop {
        // SAFETY: `next` points into the null-terminated vector, not behind it.
        let entry = unsafe { next.read() };
        if entry.is_null() {
            return entries;
        }
        // SAFETY: each entry is a NUL-terminated string that is never freed.
        entries.push(unsafe { CStr::from_ptr(entry) }.to_bytes().to_vec());
        // SAFETY: the entry was not the vector's last, so there is a next one.
        next = unsafe { next.add(1) };
    }
}

#[cfg(test)]
mod tests {
    use super::{environment, value};

    #[test]
    fn the_vector_is_the_kernels() {
        assert_eq!(value(libc::AT_PAGESZ), 4096);
        assert_eq!(value(999), 0);
        let features = std::arch::x86_64::__cpuid(1).edx;
        assert_eq!(value(libc::AT_HWCAP), u64::from(features));
    }

    #[test]
    fn the_environment_holds_what_the_standard_library_sees() {
        let path = std::env::var("PATH").unwrap();

        assert!(environment().contains(&format!("PATH={path}").into_bytes()));
    }
}
