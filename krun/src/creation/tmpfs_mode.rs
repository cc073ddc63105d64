//! The mode of a tmpfs's root: that of the directory it is mounted on, unless the bundle gives one.
//!
//! That is runc's way; the kernel's own default, and libcontainer's, is 1777.

use std::path::Path;

use rustix::fs::{AtFlags, OFlags, statat};
use serde_json::{Value, json};

use super::in_container;

/// The bits of a mode that are permissions.
const PERMISSIONS: u32 = 0o7777;

/// Gives a mode to each tmpfs that has none and is mounted on a directory of the image's.
pub(super) fn complete(mounts: &mut Value, rootfs: &Path) {
    let Some(mounts) = mounts.as_array_mut() else { return };
    for index in 0..mounts.len() {
        let (earlier, mount) = mounts.split_at_mut(index);
        let Some(mount) = mount.first_mut() else { return };
        let destination = destination(mount).to_owned();
        let is_in_image =
            !earlier.iter().any(|one| destination.starts_with(self::destination(one)));
        if needs_mode(mount)
            && is_in_image
            && let Some(mode) = mode_of(rootfs, &destination)
        {
            give(mount, mode);
        }
    }
}

fn destination(mount: &Value) -> &Path {
    Path::new(mount["destination"].as_str().unwrap_or("/"))
}

fn needs_mode(mount: &Value) -> bool {
    let mut options = mount["options"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let is_bind = |option: &str| option == "bind" || option == "rbind";
    mount["type"] == "tmpfs"
        && !options.any(|option| option.starts_with("mode=") || is_bind(option))
}

/// Where there is nothing yet, libcontainer makes the directory, and the tmpfs has the default.
fn mode_of(rootfs: &Path, destination: &Path) -> Option<u32> {
    let flags = OFlags::PATH | OFlags::DIRECTORY;
    let directory = in_container::open_below(rootfs, destination, flags).ok()?;
    let status = statat(directory, c"", AtFlags::EMPTY_PATH).ok()?;
    Some(status.st_mode & PERMISSIONS)
}

fn give(mount: &mut Value, mode: u32) {
    let option = json!(format!("mode={mode:04o}"));
    match mount["options"].as_array_mut() {
        Some(options) => options.push(option),
        None => mount["options"] = json!([option]),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use serde_json::json;

    use super::complete;

    #[test]
    fn only_a_tmpfs_without_a_mode_on_the_images_directory_gets_one() {
        let rootfs = tempfile::tempdir().unwrap();
        fs::create_dir_all(rootfs.path().join("run/lock")).unwrap();
        let mode = fs::Permissions::from_mode(0o1750);
        fs::set_permissions(rootfs.path().join("run"), mode).unwrap();
        let mut mounts = json!([
            { "destination": "/run", "type": "tmpfs", "options": ["size=1m"] },
            { "destination": "/run", "type": "tmpfs" },
            { "destination": "/run/lock", "type": "tmpfs", "options": [] },
            { "destination": "/nosuch", "type": "tmpfs", "options": [] },
            { "destination": "/etc", "type": "tmpfs", "options": ["mode=700"] },
        ]);

        complete(&mut mounts, rootfs.path());

        assert_eq!(mounts[0]["options"], json!(["size=1m", "mode=1750"]));
        assert_eq!(mounts[1].get("options"), None);
        assert_eq!(mounts[2]["options"], json!([]));
        assert_eq!(mounts[3]["options"], json!([]));
        assert_eq!(mounts[4]["options"], json!(["mode=700"]));
    }
}
