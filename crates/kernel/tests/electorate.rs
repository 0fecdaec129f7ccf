//! The electorate's rule over every subset of dead providers and dead probers of the example fleet.

mod support;

#[test]
fn the_example_fleet_has_its_shape() {
    let fleet = support::payroll();
    assert_eq!(
        (fleet.providers.len(), fleet.regions.len(), fleet.endpoints.len(), fleet.vantages.len()),
        (4, 10, 18, 8)
    );
    assert_eq!(fleet.classes.len(), 5);
    assert_eq!(support::large(3, 30, 2).endpoints.len(), 180);
}
