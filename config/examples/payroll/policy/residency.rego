# The shipped residency policy: a class may be where its configuration permits it, whatever the reason of the move.
#
# Asked once for every distinct (class, country of the receiver, kind of move); README.md beside this file documents
# `input`. The answer must have exactly the two keys `allow` and `reason`. Whatever is answered here, Tidegate never
# goes beyond `input.permitted`: a policy can only narrow it.
package tidegate.residency

import rego.v1

default decision := {"allow": false, "reason": "the residency policy has no rule for this question"}

decision := {"allow": true, "reason": ""} if permitted

decision := {"allow": false, "reason": reason} if {
	not permitted
	reason := sprintf(
		"%s/%s may be in %s only, and %s is not among them",
		[input.service, input.class, concat(", ", input.permitted.countries), input.place.jurisdiction],
	)
}

permitted if input.permitted.anywhere

permitted if input.place.jurisdiction in input.permitted.countries
