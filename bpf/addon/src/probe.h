#pragma once

#include "hooks.h"

namespace tributary {

/** Loads and attaches a program of two instructions; returns 0, or the errno of the step that failed. */
int ProbeBackend(const Backend &backend);

/** What the process lacks to load and attach programs at all, as a sentence with the fix; empty when nothing. */
const char *FindMissingPrivilege();

}  // namespace tributary
