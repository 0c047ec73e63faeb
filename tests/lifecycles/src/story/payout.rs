//! Payouts of connected accounts and of the platform.

use crate::Scenario;
use crate::payout::Payout;
use crate::script::Script;

pub(super) fn play(scenario: Scenario, script: &mut Script<'_>) {
    let is_connected = matches!(
        scenario,
        Scenario::PayoutPaid
            | Scenario::PayoutFailed
            | Scenario::PayoutPaidThenFailed
            | Scenario::PayoutCanceled
    );
    let owner = is_connected.then(|| script.pick_account());
    let mut payout = match scenario {
        Scenario::PlatformPayoutNegative => Payout::draw(script),
        _ => Payout::create(script, owner),
    };
    let status = match scenario {
        Scenario::PayoutCanceled | Scenario::PlatformPayoutCanceled => {
            payout.cancel(script);
            "canceled"
        }
        Scenario::PlatformPayoutInTransit => {
            payout.send(script);
            "in_transit"
        }
        Scenario::PayoutFailed | Scenario::PlatformPayoutFailed => {
            payout.send(script);
            payout.bounce(script);
            "failed"
        }
        Scenario::PayoutPaidThenFailed | Scenario::PlatformPayoutPaidThenFailed => {
            payout.send(script);
            payout.arrive(script);
            payout.bounce(script);
            "failed"
        }
        _ => {
            payout.send(script);
            payout.arrive(script);
            if scenario == Scenario::PlatformPayoutReconciled || script.rng().coin() {
                payout.reconcile(script);
            }
            "paid"
        }
    };
    payout.is(script, status);
}
