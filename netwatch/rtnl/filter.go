package rtnl

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Offsets into a link message, from include/uapi/linux/netlink.h and rtnetlink.h.
const (
	offsetType       = 4
	offsetAttributes = unix.NLMSG_HDRLEN + unix.SizeofIfInfomsg
)

// The kernel's extensions of BPF, from include/uapi/linux/filter.h.
const (
	adOffset    = -0x1000 // SKF_AD_OFF
	adAttribute = 12      // SKF_AD_NLATTR: finds attribute X, starting at offset A
	adNested    = 16      // SKF_AD_NLATTR_NEST: finds attribute X inside the attribute at A
)

// step is one instruction of a filter. Its jumps go to labels.
type step struct {
	code    uint16
	k       uint32
	yes, no string // where a jump goes; "" is the next instruction
	label   string // of this instruction
}

// vethFilter returns a classic BPF program (Documentation/networking/filter.rst)
// that drops links of other kinds than veth. A message that it drops takes no room in the receive buffer
// and wakes no reader. It also drops the messages of bridges (AF_BRIDGE), because these have no kind. The program
// looks only at the first message of a datagram. That is enough for a dump, because dumpRequest asks only for veths.
func vethFilter() []unix.SockFilter {
	const (
		load16   = unix.BPF_LD | unix.BPF_H | unix.BPF_ABS
		load32   = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		load32x  = unix.BPF_LD | unix.BPF_W | unix.BPF_IND
		equal    = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		setA     = unix.BPF_LD | unix.BPF_IMM
		setX     = unix.BPF_LDX | unix.BPF_IMM
		copyAToX = unix.BPF_MISC | unix.BPF_TAX
		ret      = unix.BPF_RET | unix.BPF_K
		veth     = 'v'<<24 | 'e'<<16 | 't'<<8 | 'h'
	)
	return assemble([]step{
		{code: load16, k: offsetType},
		{code: equal, k: hostOrder16(unix.RTM_NEWLINK), yes: "link"},
		{code: equal, k: hostOrder16(unix.RTM_DELLINK), no: "keep"},
		{label: "link", code: setA, k: offsetAttributes},
		{code: setX, k: unix.IFLA_LINKINFO},
		{code: load32, k: ancillary(adAttribute)}, // A: offset of the attribute, 0 if there is none
		{code: equal, k: 0, yes: "drop"},
		{code: setX, k: unix.IFLA_INFO_KIND},
		{code: load32, k: ancillary(adNested)},
		{code: equal, k: 0, yes: "drop"},
		{code: copyAToX},
		{code: load32x, k: unix.SizeofRtAttr},
		{code: equal, k: veth, no: "drop"},
		{label: "keep", code: ret, k: 0xffffffff},
		{label: "drop", code: ret, k: 0},
	})
}

// assemble turns labels into offsets.
func assemble(steps []step) []unix.SockFilter {
	at := map[string]int{}
	for i := range steps {
		at[steps[i].label] = i
	}
	program := make([]unix.SockFilter, len(steps))
	for i, s := range steps {
		jump := func(label string) uint8 {
			if label == "" {
				return 0
			}
			return uint8(at[label] - i - 1) //nolint:gosec // the program is short and jumps forward
		}
		program[i] = unix.SockFilter{Code: s.code, Jt: jump(s.yes), Jf: jump(s.no), K: s.k}
	}
	return program
}

// hostOrder16 returns v as a BPF load reads it: the kernel stores v in host order, but the load is
// big-endian.
func hostOrder16(v uint16) uint32 {
	var b [2]byte
	binary.NativeEndian.PutUint16(b[:], v)
	return uint32(binary.BigEndian.Uint16(b[:]))
}

// ancillary returns the address of one of the kernel's BPF extensions.
func ancillary(what int32) uint32 {
	return uint32(adOffset + what) //nolint:gosec // negative on purpose
}
