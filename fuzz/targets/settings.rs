//! Files of krun's settings: whatever one says, each setting is its default or from that file, and a mistake names
//! the file and sets nothing by itself.
#![no_main]

use std::path::Path;

use krun_config::{Origin, Settings};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let path = Path::new("/etc/kontain/krun.toml");
    let mut settings = Settings::default();

    let errors = settings.add_text(path, text);

    let of_file = Origin::File(path.into());
    for (name, _, origin) in settings.all() {
        assert!(*origin == Origin::Default || *origin == of_file, "{name}");
        let is_wrong = errors.iter().any(|error| error.key() == Some(name));
        assert!(!is_wrong || *origin == Origin::Default, "{name}");
    }
    assert!(errors.iter().all(|error| error.file() == Some(path)));
});
