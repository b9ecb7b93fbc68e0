// Package batch issues many certificates from one file: a row for each.
//
// The rows are checked, get their keys and are signed on all cores; a thousand
// at a time are then kept: their keys are made durable, the inventory takes all
// of them in one transaction, and their certificates follow. Only then are they
// reported. A bad row is reported in its place, and the others go on. However
// long the input is, a bounded number of rows is held.
package batch
