//! The limits of a version 1 cgroup that `update` does not change: they are set once, before anybody is
//! in it (`Documentation/admin-guide/cgroup-v1/`).
//!
//! `memory.kmem.limit_in_bytes` is not among them: Linux has deprecated it, and runc passes it over.

use std::fmt::Display;
use std::fs;
use std::path::PathBuf;

use libcontainer::oci_spec::runtime::{
    LinuxBlockIo, LinuxMemory, LinuxNetwork, LinuxResources, LinuxThrottleDevice, LinuxWeightDevice,
};

use super::LimitsError;

/// Files and what each is told, line by line in writes of their own, as several devices are.
type Lines = Vec<(String, String)>;

/// Sets them in the cgroup that has these directories.
pub(crate) fn set(directories: &[PathBuf], resources: &LinuxResources) -> Result<(), LimitsError> {
    let find = |file: &str| directories.iter().map(|one| one.join(file)).find(|path| path.exists());
    let mut lines = Lines::new();
    lines.extend(resources.memory().as_ref().map(memory).unwrap_or_default());
    let has_bfq = find("blkio.weight").is_none();
    lines.extend(resources.block_io().as_ref().map(|io| block_io(io, has_bfq)).unwrap_or_default());
    lines.extend(resources.network().as_ref().map(network).unwrap_or_default());
    for pages in resources.hugepage_limits().iter().flatten() {
        let limit = pages.limit().to_string();
        let reserved = format!("hugetlb.{}.rsvd.limit_in_bytes", pages.page_size());
        lines.push((format!("hugetlb.{}.limit_in_bytes", pages.page_size()), limit.clone()));
        // Since Linux 5.7.
        lines.extend(find(&reserved).map(|_| (reserved, limit)));
    }
    for (device, limit) in resources.rdma().iter().flatten() {
        let parts = [("hca_handle", limit.hca_handles()), ("hca_object", limit.hca_objects())];
        let parts = parts.iter().filter_map(|(name, value)| Some(format!(" {name}={}", (*value)?)));
        lines.push(("rdma.max".into(), format!("{device}{}", parts.collect::<String>())));
    }
    for (file, text) in lines {
        let path = find(&file).ok_or(LimitsError::NoFile(file))?;
        fs::write(&path, &text).map_err(|source| LimitsError::Write { path, text, source })?;
    }
    Ok(())
}

fn memory(memory: &LinuxMemory) -> Lines {
    let mut lines = Lines::new();
    let mut add = |file: &str, text: Option<String>| {
        lines.extend(text.map(|text| (file.to_owned(), text)));
    };
    let tcp = memory.kernel_tcp().filter(|&bytes| bytes != 0);
    add("memory.kmem.tcp.limit_in_bytes", tcp.map(|bytes| bytes.to_string()));
    // What is no number of Linux's, and what some engines write for -1, stands for none.
    let swappiness = memory.swappiness().filter(|&value| i64::try_from(value).is_ok());
    add("memory.swappiness", swappiness.map(|value| value.to_string()));
    add("memory.oom_control", memory.disable_oom_killer().unwrap_or_default().then(|| "1".into()));
    lines
}

fn block_io(io: &LinuxBlockIo, has_bfq: bool) -> Lines {
    let mut lines = Lines::new();
    if let Some(weight) = io.leaf_weight().filter(|&weight| weight != 0) {
        lines.push(("blkio.leaf_weight".into(), weight.to_string()));
    }
    let weights = if has_bfq { "blkio.bfq.weight_device" } else { "blkio.weight_device" };
    for device in io.weight_device().iter().flatten() {
        let mut add = |file: &str, weight: Option<u16>| {
            let weight = weight.filter(|&weight| weight != 0);
            lines.extend(weight.map(|weight| (file.to_owned(), weight_of(device, weight))));
        };
        add(weights, device.weight());
        add("blkio.leaf_weight_device", device.leaf_weight());
    }
    for (file, devices) in [
        ("blkio.throttle.read_bps_device", io.throttle_read_bps_device()),
        ("blkio.throttle.write_bps_device", io.throttle_write_bps_device()),
        ("blkio.throttle.read_iops_device", io.throttle_read_iops_device()),
        ("blkio.throttle.write_iops_device", io.throttle_write_iops_device()),
    ] {
        lines.extend(devices.iter().flatten().map(|device| (file.to_owned(), rate_of(device))));
    }
    lines
}

fn weight_of(device: &LinuxWeightDevice, weight: impl Display) -> String {
    format!("{}:{} {weight}", device.major(), device.minor())
}

fn rate_of(device: &LinuxThrottleDevice) -> String {
    format!("{}:{} {}", device.major(), device.minor(), device.rate())
}

fn network(network: &LinuxNetwork) -> Lines {
    let class = network.class_id().filter(|&class| class != 0);
    let class = class.map(|class| ("net_cls.classid".to_owned(), class.to_string()));
    let priorities =
        network.priorities().iter().flatten().map(|one| {
            ("net_prio.ifpriomap".to_owned(), format!("{} {}", one.name(), one.priority()))
        });
    class.into_iter().chain(priorities).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::set;

    #[test]
    fn every_limit_is_a_line_of_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let text = r#"{
            "memory": {"swappiness": 0, "disableOOMKiller": true, "kernelTCP": 4096, "kernel": 5},
            "blockIO": {
                "weightDevice": [{"major": 8, "minor": 0, "weight": 300}],
                "throttleReadBpsDevice": [{"major": 8, "minor": 16, "rate": 1000}],
                "throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 7}]
            },
            "hugepageLimits": [{"pageSize": "2MB", "limit": 2097152}],
            "network": {"classID": 1048577, "priorities": [{"name": "eth0", "priority": 5}]},
            "rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 9}}
        }"#;
        let expected = [
            ("memory.swappiness", "0"),
            ("memory.oom_control", "1"),
            ("memory.kmem.tcp.limit_in_bytes", "4096"),
            ("blkio.bfq.weight_device", "8:0 300"),
            ("blkio.throttle.read_bps_device", "8:16 1000"),
            ("blkio.throttle.write_iops_device", "8:0 7"),
            ("hugetlb.2MB.limit_in_bytes", "2097152"),
            ("net_cls.classid", "1048577"),
            ("net_prio.ifpriomap", "eth0 5"),
            ("rdma.max", "mlx5_1 hca_handle=3 hca_object=9"),
        ];
        for (file, _) in expected {
            fs::write(directory.path().join(file), "").unwrap();
        }

        set(&[directory.path().to_owned()], &serde_json::from_str(text).unwrap()).unwrap();

        for (file, text) in expected {
            assert_eq!(fs::read_to_string(directory.path().join(file)).unwrap(), text, "{file}");
        }
    }

    #[test]
    fn a_limit_that_linux_has_no_file_for_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let text = r#"{"hugepageLimits": [{"pageSize": "3MB", "limit": 1}]}"#;

        let refused = set(&[directory.path().to_owned()], &serde_json::from_str(text).unwrap());

        assert!(refused.unwrap_err().to_string().contains("no hugetlb.3MB.limit_in_bytes"));
    }
}
