//! Fares (R23) and refunds (R21), in whole minor units. Percentages round half up.

use interlock_schemas::{Fare, Minor, RefundBand};

/// The tatkal quota: it has a surcharge, a smaller largest party, and no refund of a seat.
pub const TATKAL: &str = "TQ";

const BASIS_POINTS: i128 = 10_000;

/// Computes the fare of one passenger (R23): slab by distance, reservation fee, tatkal surcharge within its bounds,
/// tax.
pub fn fare(fare: &Fare, quota: &str, distance_m: i64) -> Minor {
    let slab = fare
        .slabs
        .iter()
        .find(|slab| distance_m <= slab.up_to_m)
        .or(fare.slabs.last());
    let base = slab.map_or(0, |slab| slab.fare_minor);
    let surcharge = if quota == TATKAL {
        share(base, fare.tatkal_bp)
            .min(fare.tatkal_max_minor)
            .max(fare.tatkal_min_minor)
    } else {
        0
    };
    let sum = base
        .saturating_add(fare.reservation_fee_minor)
        .saturating_add(surcharge);
    sum.saturating_add(share(sum, fare.tax_bp))
}

/// Computes the refund of a confirmed passenger, `milliseconds_left` before departure at the boarding stop (R21). A
/// time equal to a band's bound falls into the next, more expensive band. Nothing is refunded in TQ or after the last
/// band.
pub fn refund_of_seat(paid: Minor, fare: &Fare, quota: &str, bands: &[RefundBand], milliseconds_left: i64) -> Minor {
    let band = bands
        .iter()
        .find(|band| milliseconds_left > band.more_than_s.saturating_mul(1_000));
    match band {
        Some(band) if quota != TATKAL => less(paid, share(paid, band.keep_bp).max(fare.cancellation_flat_minor)),
        _ => 0,
    }
}

/// Computes the refund of a waiting passenger: all but the clerkage, at any time and in any quota (R21).
pub fn refund_of_waiter(paid: Minor, fare: &Fare) -> Minor {
    less(paid, fare.clerkage_minor)
}

/// Computes `amount · basis_points / 10,000`, rounded half up.
fn share(amount: Minor, basis_points: i32) -> Minor {
    let small = amount.checked_mul(basis_points.into());
    if let Some(scaled) = small.and_then(|scaled| scaled.checked_add(BASIS_POINTS as i64 / 2)) {
        return scaled.div_euclid(BASIS_POINTS as i64);
    }
    let scaled = i128::from(amount) * i128::from(basis_points) + BASIS_POINTS / 2;
    Minor::try_from(scaled.div_euclid(BASIS_POINTS)).unwrap_or(Minor::MAX)
}

fn less(paid: Minor, kept: Minor) -> Minor {
    paid.saturating_sub(kept).clamp(0, paid.max(0))
}

#[cfg(test)]
mod tests {
    use interlock_schemas::FareSlab;

    use super::*;

    fn sleeper() -> Fare {
        Fare {
            travel_class: "SL".into(),
            slabs: vec![
                FareSlab {
                    up_to_m: 100_000,
                    fare_minor: 10_000,
                },
                FareSlab {
                    up_to_m: 500_000,
                    fare_minor: 30_005,
                },
            ],
            reservation_fee_minor: 2_000,
            tatkal_bp: 3_000,
            tatkal_min_minor: 4_000,
            tatkal_max_minor: 9_000,
            tax_bp: 500,
            cancellation_flat_minor: 12_000,
            clerkage_minor: 6_000,
        }
    }

    #[test]
    fn a_fare_adds_up() {
        let of = |quota, distance_m| fare(&sleeper(), quota, distance_m);
        assert_eq!(of("GN", 100_000), 12_600);
        assert_eq!(of("GN", 100_001), 33_605, "32,005 + 1,600.25");
        assert_eq!(of("GN", 900_000), 33_605, "the last slab serves what is longer");
        assert_eq!(of("TQ", 1), 16_800, "30 % of 100.00 is below the bound of 40.00");
        assert_eq!(
            of("TQ", 200_000),
            43_055,
            "90.02 is above the bound of 90.00; 41,005 + 2,050.25"
        );
    }

    #[test]
    fn half_rounds_up() {
        assert_eq!(share(10, 500), 1, "0.5");
        assert_eq!(share(9, 500), 0, "0.45");
    }

    #[test]
    fn a_refund_is_never_below_nothing_nor_above_what_was_paid() {
        let bands = [RefundBand {
            more_than_s: 0,
            keep_bp: 0,
        }];
        assert_eq!(refund_of_seat(11_999, &sleeper(), "GN", &bands, 1), 0);
        assert_eq!(refund_of_seat(12_001, &sleeper(), "GN", &bands, 1), 1);
        assert_eq!(refund_of_seat(12_001, &sleeper(), "TQ", &bands, 1), 0);
        assert_eq!(
            refund_of_seat(12_001, &sleeper(), "GN", &bands, 0),
            0,
            "equality falls in the dearer band"
        );
        assert_eq!(refund_of_waiter(5_000, &sleeper()), 0);
        assert_eq!(refund_of_waiter(60_000, &sleeper()), 54_000);
    }
}
