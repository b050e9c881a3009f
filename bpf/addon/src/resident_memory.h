#pragma once

namespace tributary {

/** Gives blocks that were freed back to the kernel. */
void TrimHeap();

/** Takes the pages of program files out of this process: those that are needed again come from the page cache. */
void DropFilePages();

}  // namespace tributary
