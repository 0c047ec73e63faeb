//! Refunds: of captured money, settled by banks, and releases that only look like refunds.

use crate::RefundRow;
use crate::Shape;
use crate::object::Refund;
use crate::payment::Payment;
use serde_json::json;

/// Where refunds come from and what they are taken from, until an allocation says more.
const BACK: (&str, &str) = ("unallocated", "stripe_clearing");

impl Payment<'_, '_> {
    /// Refunds captured money and returns the refund's index.
    pub(crate) fn refund(&mut self, amount: i64, status: &'static str) -> usize {
        self.script.request_after((60, 90_000));
        self.refund_now(amount, status, None)
    }

    /// A refund at this moment, with the reversal of the transfer that went along.
    pub(crate) fn refund_now(
        &mut self,
        amount: i64,
        status: &'static str,
        transfer_reversal: Option<String>,
    ) -> usize {
        let before = json!({"amount_refunded": self.charge().amount_refunded()});
        let bt = self.script.id("txn");
        let refund = self.new_refund(amount, status, Some(bt));
        let index = self.charge().refunds.len();
        self.charge().refunds.push(Refund { transfer_reversal, ..refund });
        let is_whole = self.charge().amount_captured == self.charge().amount;
        if is_whole {
            let (charge, currency) = (self.charge().id.clone(), self.common.currency);
            self.script.moves(("refunds_unnamed", &charge), currency, amount, BACK);
        }
        if self.script.shape.nests() {
            self.name_refund(index);
        }
        let object = self.charge_json();
        self.script.emit_change("charge.refunded", object, before);
        match self.script.shape {
            Shape::Nested => {}
            // A refund that succeeds at once speaks again only when its reference is known, and
            // not always. Of a partly captured charge it must: nothing else would tell of it.
            Shape::Linked => {
                if status == "pending" {
                    self.emit_refund("charge.refund.updated", index);
                } else if !is_whole || self.script.rng().chance(0.6) {
                    self.script.happens_after_days((0, 1));
                    self.emit_refund("charge.refund.updated", index);
                }
            }
            Shape::Basil | Shape::Flat => self.emit_refund("refund.created", index),
        }
        index
    }

    /// Days later the bank has the last word on a refund.
    pub(crate) fn settle_refund(&mut self, index: usize, status: &'static str) {
        self.script.happens_after_days((1, 3));
        let refunded = self.charge().amount_refunded();
        if status != "succeeded" {
            // Named first: then what it had moved goes back under its own name.
            self.name_refund(index);
            let refund = &self.charge().refunds[index];
            let (id, amount) = (refund.id.clone(), refund.amount);
            let currency = self.common.currency;
            self.script.moves(("refund", &id), currency, -amount, BACK);
            self.script.fact("refund.failed", &[&id]);
        }
        self.charge().refunds[index].status = status;
        if self.script.shape.has_refund_events() {
            self.emit_refund("refund.updated", index);
            if status == "failed" {
                self.emit_refund("refund.failed", index);
            }
        } else {
            self.emit_refund("charge.refund.updated", index);
        }
        // Not every account gets this event: the refund alone must be enough.
        if status != "succeeded" && self.script.rng().chance(0.7) {
            self.emit_charge_change(json!({"amount_refunded": refunded}));
        }
    }

    /// What an authorisation gives back unused. No money moved: no fact, no posting.
    pub(crate) fn release(&mut self, amount: i64) {
        let mut refund = self.new_refund(amount, "succeeded", None);
        refund.is_release = true;
        let index = self.charge().refunds.len();
        self.charge().refunds.push(refund);
        if self.script.shape.has_refund_events() {
            self.emit_refund("refund.created", index);
        }
    }

    fn new_refund(&mut self, amount: i64, status: &'static str, bt: Option<String>) -> Refund {
        Refund {
            id: self.script.id(if self.common.method == "card" { "re" } else { "pyr" }),
            charge: self.charge().id.clone(),
            intent: self.intent_id().map(str::to_owned),
            created: self.script.now,
            amount,
            status,
            balance_transaction: bt,
            source_transfer_reversal: None,
            transfer_reversal: None,
            is_release: false,
            is_named: false,
        }
    }

    fn emit_refund(&mut self, kind: &'static str, index: usize) {
        self.name_refund(index);
        let (shape, common) = (self.script.shape, self.common.clone());
        let object = self.charge().refunds[index].json(shape, &common);
        self.script.emit(kind, object);
    }

    /// The refund is shown for the first time: it speaks for itself from now on.
    fn name_refund(&mut self, index: usize) {
        let charge = self.charge();
        let (of, is_whole) = (charge.id.clone(), charge.amount_captured == charge.amount);
        let refund = &mut charge.refunds[index];
        if refund.is_release || std::mem::replace(&mut refund.is_named, true) {
            return;
        }
        let (id, amount) = (refund.id.clone(), refund.amount);
        let currency = self.common.currency;
        self.script.fact("refund.issued", &[&id]);
        if is_whole {
            self.script.moves(("refunds_unnamed", &of), currency, -amount, BACK);
        }
        self.script.moves(("refund", &id), currency, amount, BACK);
    }

    /// Refunds of captured money that have not failed, pending ones included.
    pub(crate) fn given_back(&self) -> i64 {
        let refunds = self.charges.iter().flat_map(|charge| &charge.refunds);
        let counts = |refund: &&Refund| !refund.is_release && refund.is_alive();
        refunds.filter(counts).map(|refund| refund.amount).sum()
    }

    /// States the row of the refund at this index, if anything but its charge has told of it.
    pub(crate) fn refund_is(&mut self, index: usize, status: &'static str) {
        let refund = &self.charge().refunds[index];
        let row = RefundRow { stripe_ref: refund.id.clone(), status, amount: refund.amount };
        if refund.is_named {
            self.script.truth.refunds.push(row);
        }
    }
}
