//! A source that is restored from a copy of its data folder, or promoted.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::World;

/// Copies a folder with all that is in it. `to` must not exist.
pub fn copy_folder(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp can be run");
    assert!(copied.success(), "{} is not copied", from.display());
}

/// Planned with [`Plan::private_source`](super::Plan::private_source).
impl World {
    /// Copies the data folder of the source's server, which is down meanwhile.
    pub async fn back_up_source(&self) {
        let mut server = self.source_server().await;
        server.shut_down();
        let (data, backup) = folders(server.folder());
        copy_folder(&data, &backup);
        server.start_again().await.expect("the server starts again");
    }

    /// Sets the source back to its backup, as a standby that is promoted: what was committed since
    /// is lost.
    pub async fn restore_source(&self) {
        {
            let mut server = self.source_server().await;
            server.shut_down();
            let (data, backup) = folders(server.folder());
            std::fs::remove_dir_all(&data).expect("the data folder can be removed");
            std::fs::rename(&backup, &data).expect("there is a backup");
        }
        self.promote_source().await;
    }

    /// Starts the source's server again as a standby, and promotes it.
    pub async fn promote_source(&self) {
        {
            let mut server = self.source_server().await;
            server.shut_down();
            server.install_file("standby.signal", b"").expect("the data folder can be written");
            server.start_again().await.expect("the server starts again");
        }
        assert_eq!(self.source.query_text("select pg_promote()").await, "t");
    }
}

fn folders(server: &Path) -> (PathBuf, PathBuf) {
    (server.join("data"), server.join("backup"))
}
