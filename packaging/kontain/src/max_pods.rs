//! `kontain max-pods`: how many pods a node of EKS's may run.
//!
//! nodeadm counts addresses: each pod has one of an interface's, the first of which is the interface's own, and two
//! pods use the node's. What it reserves for kubelet and containerd grows with that number. Memory is what bounds
//! virtual machines, and it knows neither what pods need nor what krun adds: that is counted here, too.

use serde::Serialize;
use serde_json::Value;

/// Pods with the node's own address: kube-proxy and the CNI's.
const HOST_NETWORK: u64 = 2;
/// Addresses in a delegated prefix (/28).
const PREFIX: u64 = 16;
/// What Kubernetes recommends at most, for up to so many processors, and for more.
const RECOMMENDED: (u64, u64, u64) = (30, 110, 250);
/// What nodeadm reserves for kubelet and containerd: so many MiB, and so many for each pod.
const RESERVED: (u64, u64) = (255, 11);
/// What kubelet keeps free, in MiB (`memory.available`).
const EVICTION: u64 = 100;

/// A type of instance, as far as it matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its name, if it has one.
    pub name: String,
    /// Interfaces of the default card.
    pub interfaces: u64,
    /// IPv4 addresses of each.
    pub addresses: u64,
    /// Memory, in MiB.
    pub memory: Option<u64>,
    /// Virtual processors.
    pub processors: Option<u64>,
}

/// What pods are like.
#[derive(Clone, Copy, Debug)]
pub struct Pods {
    /// Whether interfaces have prefixes of addresses.
    pub prefixes: bool,
    /// What a pod needs without krun, in MiB, if that is to be counted.
    pub memory: Option<u64>,
    /// What krun adds to it, in MiB.
    pub overhead: u64,
}

/// How many there may be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// The type of instance.
    pub instance: String,
    /// What kubelet is to be told.
    pub max_pods: u64,
    /// What nodeadm would say.
    pub by_addresses: u64,
    /// What there is memory for, if that was asked.
    pub by_memory: Option<u64>,
    /// What nodeadm reserves for kubelet and containerd, in MiB. It goes by addresses, whatever kubelet is told.
    pub reserved_mib: u64,
}

impl Instance {
    /// Reads the answer of `aws ec2 describe-instance-types`, which may be about many.
    pub fn all(text: &str) -> Result<Vec<Self>, String> {
        let answer: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let types =
            answer["InstanceTypes"].as_array().ok_or("InstanceTypes: there is no such list")?;
        types.iter().map(Self::read).collect()
    }

    fn read(one: &Value) -> Result<Self, String> {
        let name = one["InstanceType"].as_str().ok_or("InstanceType: one has none")?.to_owned();
        let network = &one["NetworkInfo"];
        // nodeadm uses the default card only.
        let card = network["DefaultNetworkCardIndex"].as_u64().unwrap_or(0);
        let cards = network["NetworkCards"].as_array();
        let card =
            cards.into_iter().flatten().find(|one| one["NetworkCardIndex"].as_u64() == Some(card));
        let interfaces = card
            .map_or(&network["MaximumNetworkInterfaces"], |card| &card["MaximumNetworkInterfaces"]);
        let number = |value: &Value, field: &str| {
            value
                .as_u64()
                .ok_or_else(|| format!("{name}: NetworkInfo.{field}: there is no such number"))
        };
        Ok(Self {
            interfaces: number(interfaces, "MaximumNetworkInterfaces")?,
            addresses: number(&network["Ipv4AddressesPerInterface"], "Ipv4AddressesPerInterface")?,
            memory: one.pointer("/MemoryInfo/SizeInMiB").and_then(Value::as_u64),
            processors: one.pointer("/VCpuInfo/DefaultVCpus").and_then(Value::as_u64),
            name,
        })
    }

    /// How many such pods it may run.
    pub fn max_pods(&self, pods: Pods) -> Result<Answer, String> {
        let by_addresses = self.by_addresses(pods.prefixes)?;
        // nodeadm counts addresses for this, not prefixes, whatever the CNI does.
        let addresses = self.by_addresses(false)?;
        let reserved_mib = RESERVED.1.saturating_mul(addresses).saturating_add(RESERVED.0);
        let by_memory = pods
            .memory
            .map(|each| self.by_memory(each, pods.overhead, reserved_mib))
            .transpose()?;
        let max_pods = by_memory.map_or(by_addresses, |memory| memory.min(by_addresses));
        Ok(Answer { instance: self.name.clone(), max_pods, by_addresses, by_memory, reserved_mib })
    }

    fn by_addresses(&self, prefixes: bool) -> Result<u64, String> {
        let own = self.addresses.checked_sub(1).ok_or("an interface has one address at least")?;
        let each = if prefixes { own.checked_mul(PREFIX) } else { Some(own) };
        let all =
            each.and_then(|each| self.interfaces.checked_mul(each)?.checked_add(HOST_NETWORK));
        let all = all.ok_or("there are not so many addresses")?;
        if !prefixes {
            return Ok(all);
        }
        let (few, small, large) = RECOMMENDED;
        let processors =
            self.processors.ok_or("with prefixes the processors count: say --vcpus")?;
        Ok(all.min(if processors <= few { small } else { large }))
    }

    fn by_memory(&self, each: u64, overhead: u64, reserved: u64) -> Result<u64, String> {
        let memory = self.memory.ok_or("with --pod-memory the node's counts: say --memory")?;
        let left = memory.saturating_sub(reserved.saturating_add(EVICTION));
        Ok(left / each.saturating_add(overhead).max(1))
    }
}

/// For people.
pub(crate) fn text(answers: &[Answer]) -> String {
    let line = |one: &Answer| {
        let Answer { instance, max_pods, by_addresses, by_memory, reserved_mib } = one;
        let memory = by_memory.map(|pods| format!(", {pods} by memory")).unwrap_or_default();
        let name = if instance.is_empty() { String::new() } else { format!("{instance:16} ") };
        format!(
            "{name}{max_pods:5}  ({by_addresses} by addresses{memory}; {reserved_mib} MiB reserved)\n"
        )
    };
    answers.iter().map(line).collect::<Vec<_>>().concat()
}

#[cfg(test)]
mod tests {
    use super::{Instance, Pods};

    const PLAIN: Pods = Pods { prefixes: false, memory: None, overhead: 3 };

    fn instance(interfaces: u64, addresses: u64, memory: u64, processors: u64) -> Instance {
        let (memory, processors) = (Some(memory), Some(processors));
        Instance { name: "one".to_owned(), interfaces, addresses, memory, processors }
    }

    #[test]
    fn addresses_are_counted_as_nodeadm_counts_them() {
        for (name, interfaces, addresses, pods) in [
            ("m5.large", 3, 10, 29),
            ("m5.xlarge", 4, 15, 58),
            ("m8i.large", 3, 20, 59),
            ("c8i.xlarge", 4, 30, 118),
            ("m5.metal", 15, 50, 737),
        ] {
            let answer = instance(interfaces, addresses, 8192, 2).max_pods(PLAIN).unwrap();
            assert_eq!((answer.max_pods, answer.by_memory), (pods, None), "{name}");
        }
    }

    #[test]
    fn prefixes_give_what_is_recommended() {
        let pods = Pods { prefixes: true, ..PLAIN };

        assert_eq!(instance(3, 10, 8192, 2).max_pods(pods).unwrap().max_pods, 110);
        assert_eq!(instance(15, 50, 8192, 96).max_pods(pods).unwrap().max_pods, 250);
        let reserved = |pods| instance(3, 10, 8192, 2).max_pods(pods).unwrap().reserved_mib;
        assert_eq!((reserved(pods), reserved(PLAIN)), (574, 574));
        assert!(Instance { processors: None, ..instance(3, 10, 1, 1) }.max_pods(pods).is_err());
    }

    #[test]
    fn memory_bounds_what_addresses_allow() {
        let pods = |memory| Pods { memory: Some(memory), ..PLAIN };
        let node = instance(3, 20, 8192, 2);

        let few = node.max_pods(pods(256)).unwrap();
        let many = node.max_pods(pods(16)).unwrap();

        // 255 and 11 for each of 59 are reserved: (8192 - 904 - 100) / (256 + 3).
        assert_eq!((few.max_pods, few.by_addresses, few.reserved_mib), (27, 59, 904));
        assert_eq!((many.max_pods, many.by_memory), (59, Some(378)));
        assert!(Instance { memory: None, ..node }.max_pods(pods(1)).is_err());
    }

    #[test]
    fn numbers_that_cannot_be_are_errors() {
        assert!(instance(1, 0, 1, 1).max_pods(PLAIN).is_err());
        assert!(instance(u64::MAX, 3, 1, 1).max_pods(PLAIN).is_err());
        assert_eq!(
            instance(1, 2, 1, 1)
                .max_pods(Pods { memory: Some(u64::MAX), ..PLAIN })
                .unwrap()
                .max_pods,
            0
        );
    }

    #[test]
    fn instances_are_read_as_aws_writes_them() {
        let text = r#"{"InstanceTypes": [{
            "InstanceType": "m8i.large", "VCpuInfo": {"DefaultVCpus": 2}, "MemoryInfo": {"SizeInMiB": 8192},
            "NetworkInfo": {"MaximumNetworkInterfaces": 6, "Ipv4AddressesPerInterface": 20,
                "DefaultNetworkCardIndex": 1, "NetworkCards": [
                    {"NetworkCardIndex": 0, "MaximumNetworkInterfaces": 4},
                    {"NetworkCardIndex": 1, "MaximumNetworkInterfaces": 3}]}
        }]}"#;

        let all = Instance::all(text).unwrap();

        assert_eq!(all, [Instance { name: "m8i.large".to_owned(), ..instance(3, 20, 8192, 2) }]);
        for (wrong, reason) in [
            ("{}", "InstanceTypes"),
            ("{\"InstanceTypes\": [{}]}", "InstanceType:"),
            ("{\"InstanceTypes\": [{\"InstanceType\": \"x\"}]}", "x: NetworkInfo.Max"),
            ("nonsense", "expected"),
        ] {
            let error = Instance::all(wrong).unwrap_err();
            assert!(error.contains(reason), "{wrong}: {error}");
        }
    }
}
