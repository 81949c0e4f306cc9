//! As whom the servers run.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

/// An unprivileged account, when we are root; nothing to do otherwise.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ServerUser(Option<(u32, u32)>);

impl ServerUser {
    pub(crate) fn choose() -> anyhow::Result<Self> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self(None));
        }
        let accounts = std::fs::read_to_string("/etc/passwd")?;
        ["postgres", "nobody"].iter().find_map(|name| account(&accounts, name)).map(|ids| Self(Some(ids))).ok_or_else(|| {
            anyhow::anyhow!("PostgreSQL does not run as root, and there is neither a user `postgres` nor `nobody` to run it as")
        })
    }

    /// Makes the program run as that user, away from the terminal's process group.
    pub(crate) fn apply(self, command: &mut Command) {
        command.process_group(0);
        if let Self(Some((uid, gid))) = self {
            command.uid(uid).gid(gid);
        }
    }

    /// Gives a file or folder to that user.
    pub(crate) fn own(self, path: &Path) -> std::io::Result<()> {
        match self {
            Self(Some((uid, gid))) => std::os::unix::fs::chown(path, Some(uid), Some(gid)),
            Self(None) => Ok(()),
        }
    }
}

fn account(accounts: &str, name: &str) -> Option<(u32, u32)> {
    let line = accounts.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut ids = line.split(':').skip(2);
    let uid: u32 = ids.next()?.parse().ok()?;
    let gid: u32 = ids.next()?.parse().ok()?;
    (uid != 0).then_some((uid, gid))
}

#[cfg(test)]
mod tests {
    use super::account;

    #[test]
    fn accounts_are_found_by_their_whole_name() {
        let accounts = "root:x:0:0::/:\npostgresql:x:7:7::/:\npostgres:x:101:104:PostgreSQL,,,:/var/lib/postgresql:/bin/bash\n";
        assert_eq!(account(accounts, "postgres"), Some((101, 104)));
        assert_eq!(account(accounts, "root"), None);
        assert_eq!(account(accounts, "nobody"), None);
    }
}
