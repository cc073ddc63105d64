//! Capabilities that can be inherited without being permitted.
//!
//! libcontainer sets what is permitted before what can be inherited, and Linux takes the latter from the former;
//! runc sets all at once. So what can be inherited is permitted until libcontainer has set it.

use caps::{CapSet, Capability, CapsHashSet};
use libcontainer::capabilities::CapabilityExt;
use libcontainer::oci_spec::runtime::Capabilities;
use serde_json::Value;
use spec_compat::Config;

/// What can be inherited and is not permitted.
pub(crate) fn surplus(config: &Config) -> CapsHashSet {
    let Some(rights) = config.process().capabilities().as_ref() else { return CapsHashSet::new() };
    let permitted = set(rights.permitted().as_ref());
    set(rights.inheritable().as_ref()).difference(&permitted).copied().collect()
}

/// Adds it to what is permitted in the process section that libcontainer sees.
pub(crate) fn permit(process: &mut Value) {
    let Some(inheritable) = process["capabilities"]["inheritable"].as_array().cloned() else {
        return;
    };
    let permitted = &mut process["capabilities"]["permitted"];
    if permitted.is_null() {
        *permitted = Value::Array(Vec::new());
    }
    let Some(permitted) = permitted.as_array_mut() else { return };
    for name in inheritable {
        if !permitted.contains(&name) {
            permitted.push(name);
        }
    }
}

/// Takes it back, but for what is `lent` for something else and given back with that.
pub(super) fn give_back(surplus: &CapsHashSet, lent: &[Capability]) -> Result<(), String> {
    surplus.iter().filter(|one| !lent.contains(one)).try_for_each(|&one| {
        caps::drop(None, CapSet::Permitted, one).map_err(|error| error.to_string())
    })
}

fn set(capabilities: Option<&Capabilities>) -> CapsHashSet {
    capabilities.into_iter().flatten().map(CapabilityExt::to_cap).collect()
}

#[cfg(test)]
mod tests {
    use caps::Capability;
    use serde_json::json;
    use spec_compat::Config;

    use super::{permit, surplus};

    #[test]
    fn what_can_be_inherited_is_permitted_for_a_while() {
        let document = json!({
            "ociVersion": "1.0.2",
            "root": {"path": "rootfs"},
            "process": {
                "cwd": "/",
                "args": ["sh"],
                "capabilities": {
                    "inheritable": ["CAP_KILL", "CAP_CHOWN"], "permitted": ["CAP_CHOWN"],
                },
            },
        });
        let config = Config::parse(document.to_string().as_bytes()).unwrap();
        let mut process = config.document()["process"].clone();

        permit(&mut process);

        assert_eq!(process["capabilities"]["permitted"], json!(["CAP_CHOWN", "CAP_KILL"]));
        assert_eq!(surplus(&config), [Capability::CAP_KILL].into());
    }
}
