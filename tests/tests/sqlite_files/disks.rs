//! The file systems that files are on: full, not mounted, or read-only.

use std::path::Path;
use std::process::Command;

use offtake_tests::oracle;

use crate::{touch, world, write};

/// A file system of its own, for as long as this lives.
struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    /// None, with a message, where the test may not mount one.
    fn at(folder: &'a Path, size: &str) -> Option<Self> {
        let size = format!("size={size}");
        let mount = ["-t", "tmpfs", "-o", &size, "offtake-tests"];
        let done = Command::new("mount").args(mount).arg(folder).status();
        if done.is_ok_and(|status| status.success()) {
            return Some(Self(folder));
        }
        eprintln!("skipped: no file system can be mounted; root can");
        None
    }
}

impl Mounted<'_> {
    /// `ro` or `rw`. No program may have a file open there for writing.
    fn again(&self, how: &str) {
        let options = format!("remount,{how}");
        let done = Command::new("mount").args(["-o", &options]).arg(self.0).status().unwrap();
        assert!(done.success(), "{options}");
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}

/// A full disk blocks the destination, and rows and cursor stay as they were. When there is room
/// again, everything arrives.
#[tokio::test]
async fn a_full_disk_is_told_and_waited_for() {
    let world = world().await;
    world.allow("destination_failed");
    let folder = world.folder().join("copies");
    let Some(_mounted) = Mounted::at(&folder, "2m") else { return };
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    let ballast = folder.join("ballast");
    let fill = format!("cat /dev/zero > '{}'", ballast.display());
    let _ = Command::new("sh").args(["-c", &fill]).output().unwrap();
    write(&world, "update item set name = repeat('x', 2000) where {acme}").await;
    world.wait_told(&daemon, "acme", "blocked", &["disk full"]).await;
    let file = world.tenant("acme").file();
    assert_eq!(file.query_text("select count(*) from items where length(name) < 100"), "300");
    std::fs::remove_file(&ballast).unwrap();
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    world.wait_told(&daemon, "acme", "in_sync", &[]).await;
    daemon.stop().await;
}

/// The file system that holds a file is not mounted: an empty folder is in its place. No new file is
/// made there.
#[tokio::test]
async fn a_file_whose_file_system_is_not_mounted_is_not_made_anew() {
    let world = world().await;
    world.allow("*");
    let folder = world.folder().join("copies");
    let Some(mounted) = Mounted::at(&folder, "20m") else { return };
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    daemon.stop().await;
    // As it is when the machine starts and the file system is missing.
    let kept = world.folder().join("kept");
    std::fs::create_dir(&kept).unwrap();
    let moved = Command::new("mount").arg("--move").arg(&folder).arg(&kept).output().unwrap();
    if !moved.status.success() {
        // Below a shared mount nothing can be moved; binding it elsewhere keeps it.
        let bound = Command::new("mount").arg("--bind").arg(&folder).arg(&kept).status().unwrap();
        assert!(bound.success());
        assert!(Command::new("umount").arg(&folder).status().unwrap().success());
    }
    std::mem::forget(mounted);
    let _kept = Mounted(&kept);
    let daemon = world.daemon().await;
    touch(&world).await;
    world.wait_told(&daemon, "acme", "blocked", &["not mounted"]).await;
    let file = world.tenant("acme").file();
    assert!(!file.path().exists(), "a new file was made");
    let bound = Command::new("mount").arg("--bind").arg(&kept).arg(&folder).status().unwrap();
    assert!(bound.success());
    let _folder = Mounted(&folder);
    touch(&world).await;
    world.wait_told(&daemon, "acme", "in_sync", &[]).await;
    world.wait_in_step().await;
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}

/// A file on a file system that became read-only blocks its destination, with the reason. It heals
/// by itself.
#[tokio::test]
async fn a_file_that_became_read_only_is_told_and_heals_by_itself() {
    let world = world().await;
    world.allow("destination_failed");
    let folder = world.folder().join("copies");
    let Some(mounted) = Mounted::at(&folder, "20m") else { return };
    let daemon = world.daemon().await;
    world.wait_in_step().await;
    daemon.stop().await;
    mounted.again("ro");
    let daemon = world.daemon().await;
    write(&world, "update item set name = 'later' where {acme} and id = 1").await;
    world.wait_told(&daemon, "acme", "blocked", &["read-only"]).await;
    let name = "select name from items where id = 1";
    mounted.again("rw");
    world.wait_told(&daemon, "acme", "in_sync", &[]).await;
    world.wait_in_step().await;
    assert_eq!(world.tenant("acme").file().query_text(name), "later");
    oracle::assert_equal(&world).await;
    daemon.stop().await;
}
