//! `config.json`: whatever is in it, the answer is a list of faults or a configuration, of which all can be asked.
#![no_main]

use libfuzzer_sys::fuzz_target;
use spec_compat::{Config, ConfigError};

fuzz_target!(|bytes: &[u8]| {
    match Config::parse(bytes) {
        Err(ConfigError::Faults(faults)) => assert!(!faults.is_empty(), "a refusal says why"),
        Err(_) => {}
        Ok(config) => {
            assert!(!config.arguments().is_empty(), "there is a program");
            let asked = (config.rootfs(), config.environment(), config.seccomp_profile());
            let flags = (config.has_new_pid_namespace(), config.wants_terminal());
            let lists = (config.hooks("poststart"), config.device_rules(), config.warnings());
            let _all_can_be_asked = (asked, flags, lists);
            // What is kept of a container is this document: it must be one that is read again.
            let again = Config::parse(config.document().to_string().as_bytes());
            assert!(again.is_ok(), "{again:?}");
        }
    }
});
