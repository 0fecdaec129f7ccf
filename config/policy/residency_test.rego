# Tests of the shipped residency policy: `tidegate policy check` runs every rule whose name begins with `test_`.
package tidegate.residency_test

import rego.v1

import data.tidegate.residency

question(place, permitted) := {
	"version": 1,
	"service": "payroll",
	"class": "eu",
	"priority": 0,
	"client_can_set": false,
	"permitted": permitted,
	"place": {"jurisdiction": place, "providers": ["aws"]},
	"kind": "safety",
}

eu := {"anywhere": false, "countries": ["DE", "NL"]}

test_a_permitted_country_is_allowed if {
	residency.decision.allow with input as question("DE", eu)
	residency.decision.allow with input as question("NL", eu)
}

test_a_forbidden_country_is_denied_with_a_sentence if {
	answer := residency.decision with input as question("BE", eu)
	not answer.allow
	answer.reason == "payroll/eu may be in DE, NL only, and BE is not among them"
}

test_the_kind_of_move_buys_nothing if {
	every kind in ["safety", "voluntary", "economic"] {
		answer := residency.decision with input as object.union(question("BE", eu), {"kind": kind})
		not answer.allow
	}
}

test_anywhere_is_anywhere if {
	residency.decision.allow with input as question("BE", {"anywhere": true, "countries": []})
}

test_an_empty_question_is_denied if {
	answer := residency.decision with input as {}
	not answer.allow
}
