/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The steps of a repair; see repair_plan.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "repair_plan.h"

int udf_repair_plan_add(struct udf_repair_plan *plan,
			const struct udf_repair_step *step, size_t size,
			const char *text)
{
	struct udf_repair_step copy = *step;
	struct udf_repair_step *steps = NULL;

	steps = udf_array_grow(plan->steps, plan->count, &plan->capacity,
			       sizeof(*steps));
	if (steps == NULL) {
		return -ENOMEM;
	}
	plan->steps = steps;
	copy.bytes = NULL;
	copy.text = strdup(text);
	if (copy.text == NULL) {
		return -ENOMEM;
	}
	if (size > 0) {
		copy.bytes = malloc(size);
		if (copy.bytes == NULL) {
			free(copy.text);
			return -ENOMEM;
		}
		memcpy(copy.bytes, step->bytes, size);
	}
	plan->steps[plan->count] = copy;
	plan->count++;
	return 0;
}

bool udf_repair_plan_has(const struct udf_repair_plan *plan,
			 enum udf_repair_action action)
{
	size_t i = 0;

	for (i = 0; i < plan->count; i++) {
		if (plan->steps[i].action == action) {
			return true;
		}
	}
	return false;
}

void udf_repair_plan_free(struct udf_repair_plan *plan)
{
	size_t i = 0;

	for (i = 0; i < plan->count; i++) {
		free(plan->steps[i].bytes);
		free(plan->steps[i].text);
	}
	free(plan->steps);
	*plan = (struct udf_repair_plan){ .count = 0 };
}
