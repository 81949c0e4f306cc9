//! The files of the repository's `mappings/`, built into the binary so that the demo needs no
//! checkout.

/// Name and text of each file.
pub(super) const DEFAULT_MAPPINGS: [(&str, &str); 7] = [
    ("contact_channels.yaml", include_str!("../../../../mappings/contact_channels.yaml")),
    ("invitations.yaml", include_str!("../../../../mappings/invitations.yaml")),
    ("permissions.yaml", include_str!("../../../../mappings/permissions.yaml")),
    ("team_members.yaml", include_str!("../../../../mappings/team_members.yaml")),
    ("teams.yaml", include_str!("../../../../mappings/teams.yaml")),
    ("tenancies.yaml", include_str!("../../../../mappings/tenancies.yaml")),
    ("users.yaml", include_str!("../../../../mappings/users.yaml")),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_mapping_file_is_forgotten() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../mappings");
        let mut names: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, DEFAULT_MAPPINGS.map(|(name, _)| std::ffi::OsString::from(name)));
    }
}
