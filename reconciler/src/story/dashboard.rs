//! Links to Stripe's dashboard.

/// Pages by what their ids begin with. <https://docs.stripe.com/dashboard/basics>
const PAGES: [(&str, &str); 12] = [
    ("pi_", "payments"),
    ("ch_", "payments"),
    ("py_", "payments"),
    ("dp_", "disputes"),
    ("du_", "disputes"),
    ("po_", "payouts"),
    ("tr_", "connect/transfers"),
    ("acct_", "connect/accounts"),
    ("evt_", "events"),
    ("cus_", "customers"),
    ("sub_", "subscriptions"),
    ("in_", "invoices"),
];
/// What is not Stripe's, or not for the dashboard.
const OURS: [&str; 2] = ["fetch_", "authorization:"];

/// Where the dashboard shows an object of this account; what has no page of its own, in the search.
/// A connected account itself is seen from its platform. `None` for what is no id of Stripe's.
pub(crate) fn link(account: &str, livemode: bool, id: &str) -> Option<String> {
    let is_word =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !id.contains('_') || !is_word(id) || OURS.iter().any(|prefix| id.starts_with(prefix)) {
        return None;
    }
    let is_account = id.starts_with("acct_");
    let owner = if account.is_empty() || is_account || !is_word(account) {
        String::new()
    } else {
        format!("{account}/")
    };
    let mode = if livemode { "" } else { "test/" };
    let page = PAGES.iter().find(|(prefix, _)| id.starts_with(prefix));
    let page =
        page.map_or_else(|| format!("search?query={id}"), |(_, page)| format!("{page}/{id}"));
    Some(format!("https://dashboard.stripe.com/{owner}{mode}{page}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_page() {
        for (account, livemode, id, path) in [
            ("", true, "pi_1", "payments/pi_1"),
            ("", false, "ch_1", "test/payments/ch_1"),
            ("acct_1", false, "py_1", "acct_1/test/payments/py_1"),
            ("acct_1", true, "du_1", "acct_1/disputes/du_1"),
            ("", true, "dp_1", "disputes/dp_1"),
            ("", false, "po_1", "test/payouts/po_1"),
            ("", true, "tr_1", "connect/transfers/tr_1"),
            ("acct_1", false, "acct_1", "test/connect/accounts/acct_1"),
            ("", false, "evt_1", "test/events/evt_1"),
            ("", true, "cus_1", "customers/cus_1"),
            ("", true, "in_1", "invoices/in_1"),
            ("", true, "inpay_1", "search?query=inpay_1"),
            ("", false, "re_1", "test/search?query=re_1"),
        ] {
            let expected = format!("https://dashboard.stripe.com/{path}");
            assert_eq!(link(account, livemode, id), Some(expected));
        }
    }

    #[test]
    fn what_is_not_stripes_has_none() {
        for id in ["transfers", "fetch_1", "authorization:acct_1", "dispute:ch_1", "a_/../b", ""] {
            assert_eq!(link("", true, id), None, "{id}");
        }
    }
}
