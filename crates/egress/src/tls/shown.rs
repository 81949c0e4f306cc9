//! What a server's certificate says of itself.

use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

/// Filled by the handshake with what the accepted certificate says.
#[derive(Debug, Clone, Default)]
pub(super) struct Shown(Arc<OnceLock<SystemTime>>);

impl Shown {
    pub(super) fn note(&self, certificate: &CertificateDer<'_>) {
        if let Some(expires_at) = expiry(certificate) {
            let _ = self.0.set(expires_at);
        }
    }

    pub(super) fn expires_at(&self) -> Option<SystemTime> {
        self.0.get().copied()
    }
}

fn expiry(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    let certificate = Certificate::from_der(certificate).ok()?;
    UNIX_EPOCH.checked_add(certificate.tbs_certificate.validity.not_after.to_unix_duration())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    #[test]
    fn the_day_on_which_a_certificate_expires_is_read() {
        let mut params = CertificateParams::new(["db.example".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2001, 1, 1);
        params.not_after = rcgen::date_time_ymd(2002, 1, 1);
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let shown = Shown::default();
        shown.note(&CertificateDer::from(b"no certificate".to_vec()));
        assert_eq!(shown.expires_at(), None);
        shown.note(certificate.der());
        let new_year = UNIX_EPOCH + Duration::from_secs(1_009_843_200);
        assert_eq!(shown.expires_at(), Some(new_year));
    }
}
