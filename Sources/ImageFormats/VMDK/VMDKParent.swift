internal import DiskCore

extension VMDKDescriptor {
  /// The image that this one was made on; nil where it stands alone.
  ///
  /// VMware names it by its path and content identifier (Virtual Disk Format 5.0, "The Header",
  /// `parentCID`, `parentFileNameHint`). VirtualBox says that there is none, and gives its UUID only.
  func parent() throws(DiskError) -> ParentReference? {
    let contentID = try contentID(.parent)
    if contentID == nil || contentID == VMDKContentID.none {
      if let uuid = uuid(.parent) {
        return reference([ParentReference.Expectation("UUID", [uuid])], name: "{\(uuid)}")
      }
      guard contentID == nil, parentHint?.isEmpty == false else { return nil }
    }
    let expectations = contentID.map { [ParentReference.Expectation("CID", [$0])] } ?? []
    return reference(expectations, name: contentID.map { "with the CID \($0)" } ?? "")
  }

  /// - Parameter name: what to call it where the image has no name for it.
  private func reference(
    _ expectations: [ParentReference.Expectation], name: String
  ) -> ParentReference {
    let hint = parentHint ?? ""
    return ParentReference(
      name: hint.isEmpty ? name : hint, paths: ForeignPath.candidates(hint), ignoresCase: true,
      format: "vmdk", expectations: expectations)
  }

  /// What children of this image know it by.
  func identity() throws(DiskError) -> [String: [String]] {
    var identity: [String: [String]] = [:]
    if let contentID = try contentID(.own) { identity["CID"] = [contentID] }
    if let uuid = uuid(.own) { identity["UUID"] = [uuid] }
    return identity
  }
}
