/* augment.h - --augment: how pictures are changed at random while they are learnt. */
#ifndef AUGMENT_H
#define AUGMENT_H

#include "network.h"

#define AUGMENT_HELP "flip, shift=PIXELS, crop=HxW or crop=HxW/PAD, with commas between"

/* Reads "flip,shift=2,crop=24x24/4"; false after saying what is wrong and where. */
bool augment_parse(const command *cmd, const char *text, clg_augment_desc *desc);

/* Do the changes fit the network's examples? Sets its window where they crop. 0, or the exit status. */
int augment_fit(const command *cmd, const clg_augment_desc *desc, network *net);

#endif
