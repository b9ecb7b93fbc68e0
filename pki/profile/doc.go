// Package profile says what each kind of certificate may contain, and when.
//
// A Request is what somebody asks for. New checks it against the rules of its
// kind and its issuer and gives a Template: the only thing that package
// authority signs. Nothing reaches a certificate that is not named here.
package profile
