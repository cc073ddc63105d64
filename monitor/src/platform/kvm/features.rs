//! What a virtual CPU can do: as the device tells it, as guests see it, and as the next machine is told.

use monitor_sys::kvm::bindings::{CpuId, KVM_MAX_CPUID_ENTRIES, kvm_cpuid_entry2};

use crate::arch::x86_64::cpuid;

/// The features for the guest's CPUs, and the extended states among them.
pub(super) fn for_guests(mut features: CpuId) -> (CpuId, u64) {
    let mut xcr0 = 0;
    for entry in features.as_mut_slice() {
        if entry.function == cpuid::EXTENDED_STATE_LEAF && entry.index == 0 {
            xcr0 = cpuid::xcr0(entry.eax);
            entry.eax = u32::try_from(xcr0).expect("eight bits");
            entry.edx = 0;
        }
    }
    (features, xcr0)
}

/// The device's answer in words.
pub(super) fn from_device(features: &CpuId) -> Vec<[u32; 7]> {
    let words = |entry: &kvm_cpuid_entry2| {
        let kvm_cpuid_entry2 { function, index, flags, eax, ebx, ecx, edx, .. } = *entry;
        [function, index, flags, eax, ebx, ecx, edx]
    };
    features.as_slice().iter().map(words).collect()
}

/// The same in the device's form, if there are any.
pub(super) fn to_device(words: &[[u32; 7]]) -> Option<CpuId> {
    if words.is_empty() || words.len() > KVM_MAX_CPUID_ENTRIES {
        return None;
    }
    let entry = |&[function, index, flags, eax, ebx, ecx, edx]: &[u32; 7]| kvm_cpuid_entry2 {
        function,
        index,
        flags,
        eax,
        ebx,
        ecx,
        edx,
        ..kvm_cpuid_entry2::default()
    };
    CpuId::from_entries(&words.iter().map(entry).collect::<Vec<_>>()).ok()
}

#[cfg(test)]
mod tests {
    use super::{for_guests, from_device, to_device};

    #[test]
    fn what_the_device_told_survives_the_way_to_the_next_machine() {
        let words = vec![[0, 0, 0, 16, 1, 2, 3], [0xd, 0, 1, 0xffff_ffff, 5, 6, 7]];

        let features = to_device(&words).unwrap();

        assert_eq!(from_device(&features), words);
        let (for_guests, xcr0) = for_guests(features);
        assert_eq!(xcr0, 0xe7);
        assert_eq!(from_device(&for_guests)[1], [0xd, 0, 1, 0xe7, 5, 6, 0]);
    }

    #[test]
    fn without_words_or_with_too_many_the_device_is_asked() {
        assert!(to_device(&[]).is_none());
        assert!(to_device(&vec![[0; 7]; 1000]).is_none());
    }
}
