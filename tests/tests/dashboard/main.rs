//! The dashboard in a real browser. Without an installed chromium the tests are skipped with a
//! message. OFFTAKE_PICTURES=folder stores pictures of the pages.

#![allow(clippy::unwrap_used)]

mod looks;
mod many;
mod operated;
mod platform;

use std::path::Path;

use offtake_tests::World;
use offtake_tests::browser::Browser;

const ADMIN: &str = "an-admin-token-of-some-length-0000000000000";
const READER: &str = "a-read-token-of-some-length-000000000000000";

/// Every text of the page that is seen and has less than 4.5 : 1 against what is behind it, with the
/// ratio, from the styles that the browser has computed.
const ILLEGIBLE: &str = "(() => {
  const parse = (colour) => { const [r, g, b, a = 1] = colour.match(/[\\d.]+/g).map(Number); return { rgb: [r, g, b], a }; };
  const linear = (v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
  const luminance = ({ rgb: [r, g, b] }) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const ratio = (x, y) => { const [a, b] = [luminance(x), luminance(y)].sort((p, q) => q - p); return (a + 0.05) / (b + 0.05); };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.a === 1) return colour;
    }
    return { rgb: [255, 255, 255], a: 1 };
  };
  const opacity = (element) => { let all = 1; for (let at = element; at; at = at.parentElement) all *= Number(getComputedStyle(at).opacity); return all; };
  const found = [];
  const look = (element, text, style, of) => {
    const { rgb, a } = parse(style[of]);
    const ground = behind(element);
    const share = a * opacity(element);
    const seen = { rgb: rgb.map((v, i) => v * share + ground.rgb[i] * (1 - share)) };
    const contrast = ratio(seen, ground);
    if (contrast < 4.5) found.push(`${text.trim().slice(0, 40)}: ${contrast.toFixed(2)}`);
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility() || element.closest('.unseen, option, script')) continue;
    look(element, walker.currentNode.data, getComputedStyle(element), element instanceof SVGElement ? 'fill' : 'color');
  }
  for (const input of document.querySelectorAll('input[placeholder]')) look(input, input.placeholder, getComputedStyle(input, '::placeholder'), 'color');
  return found;
})()";

fn picture(page: &mut Browser, name: &str) {
    let Some(folder) = std::env::var_os("OFFTAKE_PICTURES") else { return };
    for scheme in ["light", "dark"] {
        page.prefer(scheme);
        page.photograph_page(&Path::new(&folder).join(format!("{name}-{scheme}.png")));
    }
}

async fn show_token(page: &mut Browser, token: &str) {
    page.wait_for("!document.getElementById('token-form').hidden").await;
    page.evaluate(&format!("document.getElementById('token').value = '{token}'"));
    page.evaluate("document.querySelector('#token-form button').click()");
}

/// Opens a view, and waits until it is shown.
async fn go(page: &mut Browser, hash: &str) {
    page.evaluate(&format!("location.hash = '{hash}'"));
    let name = hash.trim_start_matches("#/").split(['/', '?']).next().unwrap();
    page.wait_for(&format!("!document.getElementById('view-{name}').hidden")).await;
}

/// Opens the tenant's view, and waits until its destination is shown.
async fn go_to_tenant(page: &mut Browser, world: &World, tenant: &str) {
    go(page, &format!("#/tenant/{}", world.id(tenant))).await;
    let name = "document.getElementById('tenant-name').innerText";
    page.wait_for(&format!("{name} === '{}' && Boolean({})", world.id(tenant), card())).await;
}

/// The destination's row in the list of all.
fn row(world: &World, tenant: &str) -> String {
    let id = world.id(tenant);
    let rows = "[...document.querySelectorAll('#destinations-rows tr')]";
    format!("{rows}.find(r => r.innerText.includes('{id}'))")
}

/// The destination in its tenant's view.
fn card() -> &'static str {
    "document.querySelector('#tenant-items [data-key=\"destination main\"]')"
}

fn button(label: &str) -> String {
    let buttons = format!("[...{}.querySelectorAll('button.action')]", card());
    format!("{buttons}.find(b => b.innerText.startsWith('{label}'))")
}

fn outcome() -> String {
    format!("{}.querySelector('output').innerText", card())
}

fn assert_no_complaints(page: &mut Browser) {
    // The console also reports that a request was refused, and that a connection ended.
    let expected = |text: &String| text.contains("status of 4") || text.contains("net::ERR_");
    let complaints: Vec<String> =
        page.complaints().iter().filter(|text| !expected(text)).cloned().collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
    let kept =
        page.evaluate("sessionStorage.length + localStorage.length + document.cookie.length");
    assert_eq!(kept, 0, "the token stays in memory");
    let elsewhere = "performance.getEntriesByType('resource').filter(r => !r.name.startsWith(location.origin + '/')).length";
    assert_eq!(page.evaluate(elsewhere), 0, "everything comes from the daemon");
}
